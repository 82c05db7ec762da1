//! The command line's way out.

fn main() {}
