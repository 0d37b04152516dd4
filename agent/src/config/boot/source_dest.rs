//! Switches off the interface's source/destination check. While it is on, AWS drops packets for a virtual IP, as that
//! isn't the interface's own address.

use std::time::Duration;

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::AttributeBooleanValue;

use crate::aws::ec2::ApiError;
use crate::aws::ids::InstanceId;
use crate::host::backoff::Backoff;
use crate::node::state::{Board, Topic};

/// Tries until the check is off: the permissions of a new role take time to spread.
pub async fn switch_off(client: &Client, instance: &InstanceId, board: &Board) {
    let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(15));
    loop {
        let off = AttributeBooleanValue::builder().value(false).build();
        let call = client.modify_instance_attribute().instance_id(&instance.0).source_dest_check(off);
        let Err(error) = call.send().await else {
            tracing::info!("source/destination check is off");
            board.problem(Topic::SourceDestCheck, None);
            return;
        };
        let error = ApiError::of("ModifyInstanceAttribute", &error);
        let problem = format!("cannot switch the source/destination check off: {error}");
        tracing::warn!("{problem}, trying again");
        board.problem(Topic::SourceDestCheck, Some(problem));
        backoff.wait().await;
    }
}
