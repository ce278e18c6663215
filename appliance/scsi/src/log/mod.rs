//! Log pages.
