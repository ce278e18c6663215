//! JSON-RPC 2.0 on a unix socket.
