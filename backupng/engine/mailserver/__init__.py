"""The only port: mail servers, read as sources and written as destinations."""
