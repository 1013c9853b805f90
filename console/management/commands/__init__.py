"""The processes of a host: worker, supervisor, and the making of the first administrator."""
