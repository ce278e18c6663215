//! Mode pages.
