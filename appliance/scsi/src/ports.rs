//! Targets, ports and port groups.
