"""Settings of every process, from the environment.

BACKUPNG_DATA    data folder: database, key, state
BACKUPNG_DEBUG   true in the demo and in tests: error pages with details, plain HTTP allowed
BACKUPNG_HOSTS   names the console answers to, comma separated
DATABASE_URL     database of the console; unset: SQLite in the data folder

A secret value can stay out of the environment: DATABASE_URL_FILE names a file that holds it.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
from pathlib import Path

import environ

env = environ.FileAwareEnv()


def _data_folder() -> Path:
    """Return the data folder, made if it is missing; nobody outside the group may enter it."""
    default = BASE_DIR / "data" if (BASE_DIR / "manage.py").exists() else Path("/var/lib/backupng")
    folder = Path(env.str("BACKUPNG_DATA", default="") or default).expanduser().absolute()
    folder.mkdir(mode=0o750, parents=True, exist_ok=True)
    return folder


def read_or_make_key(path: Path) -> str:
    """Return the key kept in `path`; the first process makes it, all others read that one."""
    with contextlib.suppress(FileNotFoundError):
        return path.read_text(encoding="ascii").strip()
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(64) + "\n")
            file.flush()
            os.fsync(file.fileno())
        # A link, unlike a rename, never replaces the key of a faster process.
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        os.unlink(draft)
    _sync_folder(path.parent)
    return path.read_text(encoding="ascii").strip()


def _sync_folder(folder: Path) -> None:
    """Make a new name in `folder` outlive a power cut: sessions and secrets hang on the key."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


BASE_DIR = Path(__file__).resolve().parent.parent
DATA_DIR = _data_folder()

DEBUG = env.bool("BACKUPNG_DEBUG", default=False)
SECRET_KEY = read_or_make_key(DATA_DIR / "secret.key")
ALLOWED_HOSTS = env.list("BACKUPNG_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])

INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "console",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
    }
]
ROOT_URLCONF = "backupng.urls"
WSGI_APPLICATION = "backupng.wsgi.application"
ASGI_APPLICATION = "backupng.asgi.application"

DATABASES = {
    "default": env.db("DATABASE_URL")
    if env.str("DATABASE_URL", default="")
    else {"ENGINE": "django.db.backends.sqlite3", "NAME": DATA_DIR / "db.sqlite3"}
}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    DATABASES["default"]["OPTIONS"] = {
        "timeout": 30,
        # Without it a read that turns into a write fails at once, whatever the timeout.
        "transaction_mode": "IMMEDIATE",
        # NORMAL may lose the last commits at a power cut: a finished operation would run again.
        "init_command": (
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=1000;"
        ),
    }
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

USE_TZ = True
TIME_ZONE = "UTC"
# Django puts its own zone into TZ, so what the host says is read before.
HOST_TIME_ZONE = env.str("TZ", default="")

AUTH_PASSWORD_VALIDATORS = [
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 12},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]

SECURE_SSL_REDIRECT = not DEBUG
SECURE_HSTS_SECONDS = 0 if DEBUG else 365 * 24 * 3600
SESSION_COOKIE_SECURE = not DEBUG
CSRF_COOKIE_SECURE = not DEBUG
CSRF_COOKIE_HTTPONLY = True
SILENCED_SYSTEM_CHECKS = [
    # HSTS for subdomains and preload bind hosts beside the console: not ours to decide.
    "security.W005",
    "security.W021",
]
