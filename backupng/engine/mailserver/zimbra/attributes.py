"""Directory attributes by how they are treated (`zimbra-provisioning.md` §6.1 and §6.3).

Zimbra/zm-mailbox `store/conf/attrs/zimbra-attrs.xml` (10.1).
"""

from __future__ import annotations

from typing import Final

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
