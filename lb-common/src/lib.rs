//! The data plane of lvs-xdp.
#![cfg_attr(not(any(test, feature = "testing", feature = "user")), no_std)]
