"""The Django app: what an admin decided and what an operation did; never mailbox content."""

from __future__ import annotations
