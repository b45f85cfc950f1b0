//! The web tool as a browser meets it: all pages and the guard in front of them, with a daemon that is made up.

mod fake;
mod paths;
mod security;
mod shut_in;
mod sight;
mod wire;
