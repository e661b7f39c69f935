#![no_main]

use leasehold::health::Health;
use leasehold::manager::ClusterView;
use leasehold::service::NodeStatus;
use leasehold_fuzz::{checks, measured};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    checks::check_health(measured(input.len(), 128, 8192, || Health::parse(input)));
    checks::check_status(measured(input.len(), 128, 8192, || NodeStatus::parse(input)));
    let view = measured(input.len(), 128, 16_384, || ClusterView::parse(input));
    if let Ok(view) = view {
        assert!(!view.cluster_id.contains(char::is_control), "{view:?}");
    }
});
