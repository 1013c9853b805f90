"""Zimbra and Carbonio: their database, metadata, volumes, directory and SOAP."""
