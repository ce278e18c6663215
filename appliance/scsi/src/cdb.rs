//! Command descriptor blocks of any length as one type.
