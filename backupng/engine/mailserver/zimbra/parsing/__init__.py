"""What a mail server learns from what it is given: messages, calendar files, cards. Pure."""
