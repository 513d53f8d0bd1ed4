//! One directory made like another.
