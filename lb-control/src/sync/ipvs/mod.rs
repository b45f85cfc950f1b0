//! The language of the kernel's balancer.
