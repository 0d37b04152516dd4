#!/bin/bash
# One table after another, as the original's notify_master script does.
for table in {tables}; do
    aws ec2 replace-route --route-table-id "$table" --destination-cidr-block {vip}/32 --network-interface-id {interface} ||
        aws ec2 create-route --route-table-id "$table" --destination-cidr-block {vip}/32 --network-interface-id {interface}
done
