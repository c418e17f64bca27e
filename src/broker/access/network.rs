//! Networks, as access rules name them.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

/// A network in CIDR form, `10.0.0.0/8` or `fd00::/8`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u32,
}

/// Why a text names no network.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no network: {reason}")]
pub struct NetworkFault {
    text: String,
    reason: &'static str,
}

busway_net::debug_as_display!(NetworkFault);

impl Network {
    /// Whether an address is in this network. An IPv4 address that came through an IPv6 socket is an IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        let (network, address) = (self.address.to_canonical(), address.to_canonical());
        network.is_ipv4() == address.is_ipv4() && masked(network, self.prefix) == masked(address, self.prefix)
    }
}

impl FromStr for Network {
    type Err = NetworkFault;

    fn from_str(text: &str) -> Result<Self, NetworkFault> {
        let fault = |reason| NetworkFault { text: text.to_owned(), reason };
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address
            .parse()
            .map_err(|_| fault("write an IP address, as in 192.0.2.1, or a network, as in 10.0.0.0/8"))?;
        let bits = bits(address);
        let prefix = match prefix {
            None => bits,
            // Not by `parse` alone, which takes a sign.
            Some(digits) if digits.bytes().all(|digit| digit.is_ascii_digit()) => digits
                .parse()
                .ok()
                .filter(|prefix| *prefix <= bits)
                .ok_or_else(|| fault("the prefix has 0 to 32 bits, with IPv6 0 to 128"))?,
            Some(_) => return Err(fault("a number of bits follows the '/'")),
        };
        if masked(address, prefix) != masked(address, bits) {
            return Err(fault("bits behind the prefix are set; write the first address of the network"));
        }
        if matches!(address, IpAddr::V6(address) if address.to_ipv4_mapped().is_some()) {
            return Err(fault("write IPv4 networks as such"));
        }
        Ok(Self { address, prefix })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.address, self.prefix)
    }
}

fn bits(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// The first bits of an address, the others cleared.
fn masked(address: IpAddr, prefix: u32) -> Ipv6Addr {
    let shift = bits(address) - prefix;
    let number = match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    };
    // A shift by all bits leaves nothing.
    Ipv6Addr::from_bits(number.checked_shr(shift).unwrap_or(0).checked_shl(shift).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_in(network: &str, address: &str) -> bool {
        network.parse::<Network>().unwrap().contains(address.parse().unwrap())
    }

    #[test]
    fn a_network_contains_what_has_its_prefix() {
        assert!(is_in("10.0.0.0/8", "10.255.0.1") && !is_in("10.0.0.0/8", "11.0.0.1"));
        assert!(is_in("127.0.0.1", "127.0.0.1") && !is_in("127.0.0.1", "127.0.0.2"));
        assert!(is_in("0.0.0.0/0", "192.0.2.1") && !is_in("0.0.0.0/0", "::1"));
        assert!(is_in("fd00::/8", "fdff::1") && !is_in("fd00::/8", "fe80::1"));
        assert!(is_in("::/0", "::1") && !is_in("::/0", "192.0.2.1"));
        assert!(is_in("192.0.2.128/25", "192.0.2.255") && !is_in("192.0.2.128/25", "192.0.2.127"));
    }

    #[test]
    fn an_ipv4_address_in_ipv6_clothes_is_an_ipv4_address() {
        assert!(is_in("192.0.2.0/24", "::ffff:192.0.2.1") && !is_in("::/0", "::ffff:192.0.2.1"));
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in
            ["", "/8", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/+8", "10.0.0.1/8", "::/129", "host", "::ffff:1.2.3.4"]
        {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }
}
