// Package reach says whether a deployment's network lets one thing connect to another, as AWS decides it from
// security groups, route tables, peering connections, NAT gateways and VPC endpoints. It is pure: it reads a topology
// and answers, with the reason in words.
//
// What it knows:
//
//   - Security groups are stateful: the source's outbound rules and the destination's inbound rules count, answers do
//     not. A rule names addresses, a prefix list, or another security group, and the latter means the private addresses
//     of that group's members: it holds inside a VPC and across a peering connection of one Region, and neither across
//     Regions nor for what comes over the internet.
//   - A packet takes the most specific route of its subnet's table, and the answer has to find its own way back.
//     Inside a VPC there always is one; a peering connection needs one on both sides; an internet gateway serves only
//     who has a public address; a NAT gateway must stand in a subnet that an internet gateway serves.
//   - The usual name of an AWS service leads to the interface endpoint of the VPC, if there is one with private DNS, to
//     the gateway endpoint of the subnet's table, or over the internet.
//   - A balancer is reached if one of its nodes is.
//
// What it leaves out: network ACLs (the default one allows everything), endpoint policies, transit gateways, IPv6, and
// main route tables, so that a subnet without a table of its own has the local route only. Aurora replicates between
// Regions in its own storage network, which no security group filters; it is no connection here.
package reach
