//! The vhost-user connection and its block sessions.
