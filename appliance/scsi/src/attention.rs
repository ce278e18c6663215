//! Unit attentions.
