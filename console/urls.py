"""The addresses of the console: a page, and beside it each part of it that lives by itself."""

from __future__ import annotations

from django.urls import path

from console.views import (
    accounts,
    audit,
    coherency,
    cos,
    history,
    notifications,
    operations,
    overview,
    purge,
    scanner,
    servers,
    session,
    settings,
    wizards,
)

urlpatterns = [
    path("login/", session.login, name="login"),
    path("logout/", session.logout, name="logout"),
    path("preferences/", session.preferences, name="preferences"),
    path("healthz", session.health, name="health"),
    path("", overview.dashboard, name="dashboard"),
    path("-/cards/", overview.cards, name="dashboard-cards"),
    path("-/queue-badge/", overview.queue_badge, name="queue-badge"),
    path("servers/", servers.servers, name="servers"),
    path("servers/<str:name>/", servers.server, name="server"),
    path("servers/<str:name>/live/", servers.server_live, name="server-live"),
    path("servers/<str:name>/scanner/", scanner.scanner, name="scanner"),
    path("servers/<str:name>/smartscan/", servers.smartscan, name="smartscan"),
    path("servers/<str:name>/coherency/", coherency.check, name="coherency"),
    path("servers/<str:name>/purge/", purge.purge, name="purge"),
    path("servers/<str:name>/purge/preview/", purge.preview, name="purge-preview"),
    path("servers/<str:name>/purge/preview/live/", purge.preview_live, name="purge-preview-live"),
    path("servers/<str:name>/wizards/<slug:kind>/", wizards.begin, name="wizard-begin"),
    path("servers/<str:name>/stop/", servers.stop_all, name="stop-all"),
    path("servers/<str:name>/pause/", servers.pause_queue, name="pause-queue"),
    path("accounts/", accounts.accounts, name="accounts"),
    path("accounts/<str:account_id>/", accounts.account, name="account"),
    path("accounts/<str:account_id>/history/", history.history, name="history"),
    path("accounts/<str:account_id>/history/reading/", history.reading, name="history-reading"),
    path("accounts/<str:account_id>/items/<int:item_id>/", history.item, name="item"),
    path("accounts/<str:account_id>/restore/", wizards.restore, name="restore"),
    path("wizards/<uuid:draft_id>/<slug:step>/", wizards.step, name="wizard-step"),
    path("wizards/<uuid:draft_id>/<slug:step>/check/", wizards.check, name="wizard-check"),
    path("cos/", cos.classes, name="cos"),
    path("cos/<str:server>/<str:cos_id>/", cos.switch, name="cos-switch"),
    path("notifications/", notifications.notifications, name="notifications"),
    path("notifications/list/", notifications.notification_list, name="notification-list"),
    path("notifications/read/", notifications.mark_all_read, name="notifications-read"),
    path("notifications/<uuid:notification_id>/", notifications.notification, name="notification"),
    path("operations/", operations.operations, name="operations"),
    path("operations/queue/", operations.operation_queue, name="operation-queue"),
    path("operations/done/", operations.operations_done, name="operations-done"),
    path("operations/<uuid:operation_id>/", operations.operation, name="operation"),
    path(
        "operations/<uuid:operation_id>/progress/", operations.progress, name="operation-progress"
    ),
    path("operations/<uuid:operation_id>/log/", operations.log, name="operation-log"),
    path(
        "operations/<uuid:operation_id>/log.txt", operations.log_download, name="operation-log-file"
    ),
    path(
        "operations/<uuid:operation_id>/unrestored/",
        operations.unrestored,
        name="operation-unrestored",
    ),
    path(
        "operations/<uuid:operation_id>/unrestored.csv",
        operations.unrestored_csv,
        name="operation-unrestored-csv",
    ),
    path("operations/<uuid:operation_id>/stop/", operations.stop, name="operation-stop"),
    path("operations/<uuid:operation_id>/retry/", operations.retry, name="operation-retry"),
    path("settings/", settings.settings_page, name="settings"),
    path("settings/schedules/", settings.schedule_settings, name="settings-schedules"),
    path("audit/", audit.audit_log, name="audit"),
]
