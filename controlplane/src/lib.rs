//! Vulcan.
