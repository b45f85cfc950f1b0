//! What a developer types: build, run, test.

fn main() {}
