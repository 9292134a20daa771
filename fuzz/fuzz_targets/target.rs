#![no_main]
#[allow(dead_code, reason = "each target is one of the judges")]
#[path = "../judges.rs"]
mod judges;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    judges::target(data);
});
