//! The lab: hosts made of network namespaces, with real programs in them.
