//! Busway.
