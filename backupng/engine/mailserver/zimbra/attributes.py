"""Directory attributes by how they are treated (`zimbra-provisioning.md` §6.1 and §6.3).

Zimbra/zm-mailbox `store/conf/attrs/zimbra-attrs.xml` (10.1).
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

from backupng.engine.model import DirectoryEntry

_TIMESTAMPS: Final = ("%Y%m%d%H%M%S.%fZ", "%Y%m%d%H%M%SZ")

VOLATILE: Final = frozenset(
    {
        "zimbraAuthTokens",
        "zimbraCsrfTokenData",
        "zimbraInvalidJWTokens",
        "zimbraLastLogonTimestamp",
        "zimbraQuotaLastWarnTime",
        "zimbraPasswordLockoutLockedTime",
        "zimbraPasswordLockoutFailureTime",
        "zimbraGalLastSuccessfulSyncTimestamp",
        "zimbraGalLastFailedSyncTimestamp",
    }
)
"""Change with every login: no change of the entry, never restored."""

IMMUTABLE: Final = frozenset(
    {
        "mail",
        "uid",
        "zimbraId",
        "zimbraMailAddress",
        "zimbraMailAlias",
        "zimbraMailDeliveryAddress",
        "zimbraOldMailAddress",
        "zimbraMemberOf",
        "zimbraAliasTargetId",
        "zimbraDomainName",
        "zimbraDomainType",
        "zimbraGroupId",
        "zimbraIsACLGroup",
        "zimbraCreateTimestamp",
        "zimbraMailboxInitialized",
        "zimbraTwoFactorAuthSecret",
        "zimbraTwoFactorAuthScratchCodes",
        "zimbraTwoFactorAuthTrustedDevices",
        "zimbraTwoFactorAuthLastReset",
        "zimbraAppSpecificPassword",
        "zimbraAuthTokenKey",
        "zimbraCsrfTokenKey",
        "zimbraTwoFactorAuthTrustedDeviceTokenKey",
        "zimbraExternalAccountProvisioningKey",
    }
)
"""The server itself sets these; a request that names one is refused."""

SERVER_KEPT: Final = frozenset(
    {
        "objectClass",
        "zimbraSharedItem",
        "zimbraShareInfo",
        "zimbraPasswordModifiedTime",
        "zimbraMailboxLocationBeforeMove",
        "zimbraVersion",
        "zimbraAuthTokenValidityValue",
        "zimbraMailTransport",
    }
)
"""Follow from other things on the server they are on."""

IDENTITY: Final = frozenset(
    {
        "userPassword",
        "zimbraPasswordHistory",
        "zimbraForeignPrincipal",
        "zimbraIsAdminAccount",
        "zimbraIsDelegatedAdminAccount",
        "zimbraACE",
        "zimbraSshPublicKey",
        "zimbraPreAuthKey",
        "zimbraGalAccountId",
        "zimbraIsSystemAccount",
        "zimbraIsSystemResource",
        "zimbraPrefIdentityId",
        "zimbraSignatureId",
        "zimbraPrefDefaultSignatureId",
        "zimbraPrefForwardReplySignatureId",
    }
)
"""Belong to one account alone, or give it rights: a restore on another account leaves them out."""

RIGHTS: Final = frozenset(
    {
        "zimbraIsAdminAccount",
        "zimbraIsDelegatedAdminAccount",
        "zimbraIsDomainAdminAccount",
        "zimbraIsAdminGroup",
        "zimbraIsSystemResource",
        "zimbraIsSystemAccount",
        "zimbraACE",
        "zimbraAdminConsoleUIComponents",
        "zimbraConstraint",
        "zimbraForeignPrincipal",
        "zimbraPreAuthKey",
        "zimbraAuthMech",
        "zimbraAuthMechAdmin",
        "zimbraAuthLdapURL",
        "zimbraAuthLdapBindDn",
        "zimbraAuthLdapSearchBase",
        "zimbraAuthLdapSearchBindDn",
        "zimbraAuthLdapSearchBindPassword",
        "zimbraAuthLdapSearchFilter",
        "zimbraAuthLdapExternalDn",
        "zimbraAuthLdapStartTlsEnabled",
        "zimbraAuthFallbackToLocal",
        "zimbraAuthKerberos5Realm",
        "zimbraMailSSLClientCertPrincipalMap",
        "zimbraAutoProvAuthMech",
        "zimbraAutoProvMode",
        "zimbraOAuthConsumerCredentials",
        "zimbraOAuthAccessor",
    }
)
"""Make somebody an administrator, or say who is let in by what: only where that is asked for."""

HELD_BACK: Final = frozenset(
    {
        "zimbraAccountStatus",
        "zimbraDomainStatus",
        "zimbraMailQuota",
        "zimbraPrefMailForwardingAddress",
        "zimbraMailForwardingAddress",
        "zimbraPrefMailLocalDeliveryDisabled",
        "zimbraPrefOutOfOfficeReply",
        "zimbraPrefOutOfOfficeReplyEnabled",
        "zimbraPrefOutOfOfficeExternalReplyEnabled",
        "zimbraPrefOutOfOfficeStatusAlertOnLogin",
        "zimbraMailSieveScript",
        "zimbraMailOutgoingSieveScript",
        "zimbraMailAdminSieveScriptBefore",
        "zimbraMailAdminSieveScriptAfter",
        "zimbraMailAdminOutgoingSieveScriptBefore",
        "zimbraMailAdminOutgoingSieveScriptAfter",
        "zimbraPrefDefaultSignatureId",
        "zimbraPrefForwardReplySignatureId",
    }
)
"""Come after the items: a filter, a forwarding or a closed account would disturb their coming."""

OF_ITEMS: Final = frozenset(
    {
        "zimbraDataSourceFolderId",
        "zimbraPrefDefaultCalendarId",
        "zimbraPrefMailFoldersCheckedForNewMsgIndicator",
        "zimbraPrefMailSignatureContactId",
    }
)
"""Hold ids of items, one or several with commas between them: restored once those have new ones."""

OF_COS: Final = frozenset(
    {"zimbraCOSId", "zimbraDomainDefaultCOSId", "zimbraDomainDefaultExternalUserCOSId"}
)
OF_ACCOUNTS: Final = frozenset(
    {"zimbraChildAccount", "zimbraChildVisibleAccount", "zimbraPrefChildVisibleAccount"}
)
"""Hold ids of classes of service, and of accounts."""

OF_SERVER: Final = frozenset(
    {
        "zimbraMailHost",
        "zimbraMailHostPool",
        "zimbraUCServiceId",
        "zimbraGalAccountId",
        "zimbraSshPublicKey",
        "zimbraMemberOf",
    }
)
"""Name a server, or what each server makes anew: never imported."""

PERSONAL: Final = frozenset(
    {
        *("c", "co", "company", "cn", "description", "displayName", "facsimileTelephoneNumber"),
        *("gn", "givenName", "homePhone", "initials", "l", "mobile", "o", "ou", "pager"),
        *("physicalDeliveryOfficeName", "postOfficeBox", "postalAddress", "postalCode", "sn", "st"),
        *("street", "streetAddress", "telephoneNumber", "title", "userCertificate"),
        *("userPassword", "userSMIMECertificate", "thumbnailPhoto", "jpegPhoto"),
    }
)
"""Of no maker: besides these only attributes by the names of mail servers are imported."""


def created_of(entry: DirectoryEntry) -> datetime | None:
    """Return when the mail server made an entry, None if that is not said."""
    for form in _TIMESTAMPS:
        with suppress(ValueError):
            said = entry.first("zimbraCreateTimestamp")
            return datetime.strptime(said, form).replace(tzinfo=UTC)
    return None
