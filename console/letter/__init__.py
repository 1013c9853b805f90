"""Notifications as texts and as mails: `text` says it, `numbers` counts it, `envelope` mails it."""
