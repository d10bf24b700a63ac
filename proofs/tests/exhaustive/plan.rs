use jejak_proofs::merkle::{Hash, NodeId, Plan, PlanError};

use super::rfc;

/// Combines a plan with hashes from the recursion.
pub fn build(plan: &Plan, leaves: &[Hash]) -> Vec<Hash> {
    let lookup = |node: &NodeId| {
        let start = (node.index as usize) << node.level;
        rfc::root(&leaves[start..start + (1 << node.level)])
    };
    let hashes: Vec<Hash> = plan.nodes().iter().map(lookup).collect();
    plan.combine(&hashes).unwrap()
}

#[test]
fn the_root_of_every_small_tree() {
    let all = rfc::leaves(rfc::SIZE_MAX);
    for size in 0..=all.len() {
        let plan = Plan::root(size as u64);
        assert_eq!(build(&plan, &all[..size]), [rfc::root(&all[..size])], "{size}");
    }
}

#[test]
fn a_plan_wants_one_hash_for_each_node() {
    let plans = [
        Plan::root(0),
        Plan::root(7),
        Plan::inclusion(7, 0).unwrap(),
        Plan::inclusion(8, 0).unwrap(),
        Plan::consistency(3, 7).unwrap(),
        Plan::consistency(7, 7).unwrap(),
        Plan::batch(7, &[1, 3]).unwrap(),
    ];
    for plan in plans {
        let want = plan.nodes().len();
        for got in (0..want + 3).filter(|got| *got != want) {
            let error = PlanError::WrongCount { got, want };
            assert_eq!(plan.combine(&rfc::leaves(got)), Err(error));
        }
    }
}

#[test]
fn a_node_is_complete_when_all_its_leaves_are_there() {
    for size in 0..=rfc::SIZE_MAX as u64 {
        for level in 0..10 {
            for index in 0..=rfc::SIZE_MAX as u64 {
                let complete = (index + 1) << level <= size;
                assert_eq!(NodeId { level, index }.is_complete(size), complete);
            }
        }
    }
    for (level, index, complete) in
        [(63, 0, true), (63, 1, false), (62, 2, true), (62, 3, false), (64, 0, false)]
    {
        assert_eq!(NodeId { level, index }.is_complete(u64::MAX), complete, "{level}, {index}");
    }
    assert!(!NodeId { level: 255, index: 0 }.is_complete(u64::MAX));
}
