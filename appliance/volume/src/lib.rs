//! Volumes on top of devices, and the graph of channels each core runs them on.
