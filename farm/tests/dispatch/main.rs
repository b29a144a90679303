//! Who gets what next: the rules one by one, the bound that is promised, and a day of a hundred SIGs.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the answer")]

mod bounds;
mod clockwork;
mod day;
mod rules;
