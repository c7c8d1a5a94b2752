"""Who calls: one frozen `Caller` for each call, made by the server's `Identity`."""
