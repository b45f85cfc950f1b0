//! piranha, the web configuration tool.

pub mod draft;
mod sheet;
