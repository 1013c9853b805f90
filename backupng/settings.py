"""Settings of every process, from the environment.

BACKUPNG_DATA    data folder: database, key, state
BACKUPNG_HOSTS   names the console answers to, comma separated
BACKUPNG_PORT    where `run` has the console listen, on loopback; unset: 8000
BACKUPNG_SERVER  the server whose queue a worker drains
BACKUPNG_TLS     false in the demo and in tests: plain HTTP, for a console on loopback only
DATABASE_URL     database of the console; unset: SQLite in the data folder
EMAIL_URL        where mail is handed in; unset: smtp://localhost:25

A secret value can stay out of the environment: DATABASE_URL_FILE names a file that holds it.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import environ
from csp.constants import NONE, SELF
from django.contrib.messages import constants as message_levels

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

# Nobody is shown a traceback: the log has it, and the page says where to look.
DEBUG = False
# Empty is unset: the safe side.
TLS = not env.str("BACKUPNG_TLS", default="") or env.bool("BACKUPNG_TLS")
SECRET_KEY = read_or_make_key(DATA_DIR / "secret.key")
ALLOWED_HOSTS = env.list("BACKUPNG_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])

INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "axes",
    "csp",
    "django_q",
    "console",
]
MIDDLEWARE = [
    # First, so that every answer carries its policy, refusals and static files too.
    "csp.middleware.CSPMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "console.access.LoginMiddleware",
    "console.access.AddressMiddleware",
    "axes.middleware.AxesMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
            "builtins": ["django.templatetags.i18n", "django.templatetags.static"],
        },
    }
]
# The looks of a note.
MESSAGE_TAGS = {message_levels.SUCCESS: "ok", message_levels.ERROR: "err"}
ROOT_URLCONF = "backupng.urls"
WSGI_APPLICATION = "backupng.wsgi.application"
ASGI_APPLICATION = "backupng.asgi.application"

# A dozen small files: they are served where they lie, their age checked by the browser each time.
STATIC_URL = "static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = False
WHITENOISE_MAX_AGE = 0

_DATABASE: dict[str, Any] = (
    env.db("DATABASE_URL")
    if env.str("DATABASE_URL", default="")
    else {"ENGINE": "django.db.backends.sqlite3", "NAME": DATA_DIR / "db.sqlite3"}
)
if _DATABASE["ENGINE"] == "django.db.backends.sqlite3":
    _DATABASE["OPTIONS"] = {
        "timeout": 30,
        # Without it a read that turns into a write fails at once, whatever the timeout.
        "transaction_mode": "IMMEDIATE",
        # NORMAL may lose the last commits at a power cut: a finished operation would run again.
        # Two processes that checkpoint at once may meet the WAL-reset race of SQLite before 3.51.3:
        # the tick does it, alone.
        "init_command": (
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=0;"
        ),
    }
elif _DATABASE["ENGINE"] == "django.db.backends.postgresql":
    _DATABASE["OPTIONS"] = {
        "connect_timeout": 5,
        "keepalives_idle": 30,
        "options": "-c lock_timeout=10s -c idle_in_transaction_session_timeout=60s",
    } | _DATABASE.get("OPTIONS", {})
DATABASES = {"default": _DATABASE}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# django-q2 hosts the drains, which may take days, and short tasks. A task that is presented twice
# does no harm, so `retry` may be short; one worker sits in a drain, the others do the rest.
Q_CLUSTER = {
    "name": "backupng",  # the signing salt too: never change it
    "orm": "default",
    "workers": 3,
    "timeout": 300,
    "retry": 600,
    "ack_failures": True,
    "max_attempts": 1,
    "poll": 1.0,
    "bulk": 1,
    "queue_limit": 1,
    "guard_cycle": 1,
    "recycle": 200,
    "daemonize_workers": True,
    "catch_up": False,
    "save_limit": 20,
    "log_level": "WARNING",  # every bell would be a line, on the command line too
    "ALT_CLUSTERS": {},  # without it the name of a cluster in the environment is a crash
    "label": "Backup NG tasks",
}
if _server := env.str("BACKUPNG_SERVER", default=""):
    Q_CLUSTER["cluster_name"] = f"srv:{_server}"[:100]  # the width of django-q2's column
# A stopped operation ends at its next safe point; after so many seconds it is killed.
OPERATION_GRACE_S = 10.0
# Whoever keeps a worker that gave no sign of life for so many seconds starts it again.
WORKER_SILENCE_S = 200.0

EMAIL_URL = env.email_url("EMAIL_URL", default="smtp://localhost:25")
vars().update(EMAIL_URL)
EMAIL_TIMEOUT = 15

# Everything that is wrong goes to standard error, and from there to the log of each service.
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "handlers": {
        "stderr": {"class": "logging.StreamHandler", "level": "WARNING", "formatter": "line"}
    },
    "root": {"handlers": ["stderr"]},
}

LANGUAGE_CODE = "en"
LOCALE_PATHS = [BASE_DIR / "locale"]
USE_TZ = True
TIME_ZONE = "UTC"
# Django puts its own zone into TZ, so what the host says is read before.
HOST_TIME_ZONE = env.str("TZ", default="")

# Who may enter

AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
]
AUTH_PASSWORD_VALIDATORS = [
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 12},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "dashboard"
LOGOUT_REDIRECT_URL = "login"
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
# Five by name and address; and by the address alone, since a guesser has many names.
NAME_FAILURE_LIMIT = 5
ADDRESS_FAILURE_LIMIT = 50
AXES_FAILURE_LIMIT = "console.access.failures_allowed"
AXES_CLIENT_IP_CALLABLE = "console.access.client_address"
# Who is locked out already adds nothing: neither rows nor time.
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_COOLOFF_TIME = timedelta(minutes=15)
AXES_LOCKOUT_TEMPLATE = "console/locked_out.html"
AXES_VERBOSE = False

_PREFIX = "__Host-" if TLS else ""
SESSION_COOKIE_NAME = f"{_PREFIX}session"
SESSION_COOKIE_SECURE = TLS
SESSION_IDLE = timedelta(minutes=30)
SESSION_ABSOLUTE = timedelta(hours=10)
SESSION_COOKIE_AGE = int(SESSION_IDLE.total_seconds())
CSRF_COOKIE_NAME = f"{_PREFIX}csrf"
CSRF_COOKIE_SECURE = TLS
CSRF_COOKIE_HTTPONLY = True
CSRF_FAILURE_VIEW = "console.views.errors.csrf_failure"

SECURE_SSL_REDIRECT = TLS
SECURE_REDIRECT_EXEMPT = [r"^healthz$"]
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if TLS else 0
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "connect-src": [SELF],
        "font-src": [SELF],
        "form-action": [SELF],
        "frame-src": [SELF],
        "frame-ancestors": [NONE],
        "base-uri": [NONE],
        "object-src": [NONE],
    }
}
SILENCED_SYSTEM_CHECKS = [
    # HSTS for subdomains and preload bind hosts beside the console: not ours to decide.
    "security.W005",
    "security.W021",
]
