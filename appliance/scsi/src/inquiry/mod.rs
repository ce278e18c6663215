//! INQUIRY: standard data and vital product data.
