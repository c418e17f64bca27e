//! `client.slow_policy`: a client says what is to be done with frames for which it has no room.

use std::fmt;

use busway_net::wire::rpc;
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::control::Failure;
use super::peer::Peer;
use super::router::Router;
use crate::policy::{MAX_FILTERS, PolicyFault};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyParams<'a> {
    policy: &'a str,
    #[serde(borrow, default)]
    topics: Topics<'a>,
}

/// As many topics as may have a policy; a longer list is refused before it is read to its end.
#[derive(Default)]
struct Topics<'a>(Vec<&'a str>);

impl<'de: 'a, 'a> Deserialize<'de> for Topics<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(TopicsVisitor)
    }
}

struct TopicsVisitor;

impl<'de> Visitor<'de> for TopicsVisitor {
    type Value = Topics<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list of topics")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Topics<'de>, A::Error> {
        let mut topics = Vec::new();
        while let Some(topic) = list.next_element()? {
            if topics.len() == MAX_FILTERS {
                return Err(serde::de::Error::custom(format_args!("at most {MAX_FILTERS} topics have a policy")));
            }
            topics.push(topic);
        }
        Ok(Topics(topics))
    }
}

/// Does what is asked.
///
/// # Errors
/// Why not.
pub(super) fn grant(router: &Router, caller: &Peer, params: &[u8]) -> Result<(), Failure> {
    let invalid = |reason: String| (rpc::INVALID_PARAMETERS, reason);
    let params: PolicyParams<'_> = rmp_serde::from_slice(params).map_err(|error| invalid(error.to_string()))?;
    let policy = params.policy.parse().map_err(|fault: PolicyFault| invalid(format!("policy {fault}")))?;
    router.set_policy(caller, &params.topics.0, policy).map_err(invalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy_params(topics: usize) -> Vec<u8> {
        let params = rmpv::Value::Map(vec![
            ("policy".into(), "latest".into()),
            ("topics".into(), rmpv::Value::Array(vec!["".into(); topics])),
        ]);
        rmp_serde::to_vec(&params).unwrap()
    }

    #[test]
    fn a_list_of_topics_without_end_is_refused() {
        let most = policy_params(MAX_FILTERS);
        assert_eq!(rmp_serde::from_slice::<PolicyParams<'_>>(&most).unwrap().topics.0.len(), MAX_FILTERS);
        let more = policy_params(MAX_FILTERS + 1);
        let refused = rmp_serde::from_slice::<PolicyParams<'_>>(&more).map(|_| ()).unwrap_err();
        assert!(refused.to_string().contains("at most 1024 topics"), "{refused}");
    }
}
