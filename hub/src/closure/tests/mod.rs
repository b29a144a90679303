//! Universes of packages written as text, and what the check says of them.

mod dsl;
mod hawkey;
mod random;
mod real;
mod scale;
mod stories;
mod warm;
