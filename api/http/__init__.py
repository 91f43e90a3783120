"""The HTTP door: `create_app(settings)` in app; who may do what in permissions; one file a capability in routes."""
