//! Logical units: the device server.
