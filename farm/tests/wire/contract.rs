//! What holds on every bus.

use farm::arch::Arch;
use farm::event::ChangeKind;
use farm::wire::GIVEN_AGAIN;
use tokio::time::timeout;

use crate::brokers::{Ends, LONG, SHORT, change, offer, offer_for, stop};
use crate::on_both;

on_both!(
    an_offer_reaches_only_its_builder_and_what_it_runs,
    two_readers_of_a_queue_share_its_offers,
    nobody_has_more_unsettled_offers_than_slots,
    an_offer_that_is_dropped_unsettled_is_given_again_but_not_for_ever,
    an_offer_that_was_settled_is_never_given_again,
    a_stop_reaches_everybody,
    a_nudge_reaches_somebody_who_waits,
    changes_come_in_order_to_those_whose_pattern_fits,
);

async fn an_offer_reaches_only_its_builder_and_what_it_runs(Ends { here, there }: Ends) {
    let mut one = there.offers("b1", &[Arch::X86_64, Arch::S390x], 4).await;
    let mut like_it = there.offers("b1.example.org", &Arch::ALL, 4).await;
    here.offer("b1", offer_for(1, Arch::S390x)).await;
    // Nothing is bound for these: they are lost, and disturb nobody.
    here.offer("b1", offer_for(2, Arch::Ppc64le)).await;
    here.offer("nobody", offer(3)).await;
    here.offer("b1.example.org", offer(4)).await;
    let got = timeout(LONG, one.next()).await.unwrap().settled().await;
    assert_eq!(got, Offerlike(offer_for(1, Arch::S390x)));
    let got = timeout(LONG, like_it.next()).await.unwrap().settled().await;
    assert_eq!(got.job, offer(4).job);
    assert!(timeout(SHORT, one.next()).await.is_err());
    assert!(timeout(SHORT, like_it.next()).await.is_err());
    // A later life that runs less is asked for less.
    drop(one);
    let mut one = there.offers("b1", &[Arch::X86_64], 4).await;
    here.offer("b1", offer_for(5, Arch::S390x)).await;
    here.offer("b1", offer(6)).await;
    assert_eq!(timeout(LONG, one.next()).await.unwrap().settled().await.job, offer(6).job);
    assert!(timeout(SHORT, one.next()).await.is_err());
}

/// An offer, but for the moment until which it holds.
#[derive(Debug)]
struct Offerlike(farm::message::Offer);

impl PartialEq<Offerlike> for farm::message::Offer {
    fn eq(&self, other: &Offerlike) -> bool {
        farm::message::Offer { until: other.0.until, ..self.clone() } == other.0
    }
}

async fn two_readers_of_a_queue_share_its_offers(Ends { here, there }: Ends) {
    let mut one = there.offers("b1", &[Arch::X86_64], 2).await;
    let mut other = here.offers("b1", &[Arch::X86_64], 2).await;
    let mut wanted: Vec<_> = (1..=12).map(|number| offer(number).job).collect();
    for number in 1..=12 {
        here.offer("b1", offer(number)).await;
    }
    let mut got = Vec::new();
    for _ in 0..12 {
        let delivery = tokio::select! {
            delivery = one.next() => delivery,
            delivery = other.next() => delivery,
        };
        got.push(delivery.settled().await.job);
    }
    got.sort();
    wanted.sort();
    assert_eq!(got, wanted);
    assert!(timeout(SHORT, one.next()).await.is_err());
    assert!(timeout(SHORT, other.next()).await.is_err());
}

async fn nobody_has_more_unsettled_offers_than_slots(Ends { here, there }: Ends) {
    let mut offers = there.offers("b1", &[Arch::X86_64], 2).await;
    for number in 1..=4 {
        here.offer("b1", offer(number)).await;
    }
    let first = timeout(LONG, offers.next()).await.unwrap();
    let second = timeout(LONG, offers.next()).await.unwrap();
    assert!(timeout(SHORT, offers.next()).await.is_err(), "two are unsettled");
    assert_eq!(first.settled().await.job, offer(1).job);
    let third = timeout(LONG, offers.next()).await.unwrap();
    assert_eq!(third.offer.job, offer(3).job);
    assert!(timeout(SHORT, offers.next()).await.is_err(), "two are unsettled again");
    second.settled().await;
    third.settled().await;
    assert_eq!(timeout(LONG, offers.next()).await.unwrap().settled().await.job, offer(4).job);
}

async fn an_offer_that_is_dropped_unsettled_is_given_again_but_not_for_ever(Ends { here, there }: Ends) {
    let mut offers = there.offers("b1", &[Arch::X86_64], 1).await;
    here.offer("b1", offer(1)).await;
    for _ in 0..=GIVEN_AGAIN {
        let delivery = timeout(LONG, offers.next()).await.unwrap();
        assert_eq!(delivery.offer.job, offer(1).job);
        drop(delivery);
    }
    assert!(timeout(SHORT, offers.next()).await.is_err(), "it is set aside");
    here.offer("b1", offer(2)).await;
    assert_eq!(timeout(LONG, offers.next()).await.unwrap().settled().await.job, offer(2).job);
}

async fn an_offer_that_was_settled_is_never_given_again(Ends { here, there }: Ends) {
    let mut offers = there.offers("b1", &[Arch::X86_64], 1).await;
    here.offer("b1", offer(1)).await;
    timeout(LONG, offers.next()).await.unwrap().settled().await;
    drop(offers);
    let mut offers = here.offers("b1", &[Arch::X86_64], 1).await;
    assert!(timeout(SHORT, offers.next()).await.is_err());
    // One that came while nobody read waits for the next reader.
    drop(offers);
    there.offer("b1", offer(2)).await;
    let mut offers = here.offers("b1", &[Arch::X86_64], 1).await;
    assert_eq!(timeout(LONG, offers.next()).await.unwrap().settled().await.job, offer(2).job);
}

async fn a_stop_reaches_everybody(Ends { here, there }: Ends) {
    let (mut one, mut two, mut three) = (here.stops().await, there.stops().await, there.stops().await);
    here.stop(stop(1)).await;
    there.stop(stop(2)).await;
    for heard in [&mut one, &mut two, &mut three] {
        let mut got =
            [timeout(LONG, heard.next()).await.unwrap(), timeout(LONG, heard.next()).await.unwrap()];
        got.sort_by_key(|stop| stop.job);
        assert_eq!(got, [stop(1), stop(2)]);
    }
}

async fn a_nudge_reaches_somebody_who_waits(Ends { here, there }: Ends) {
    for _ in 0..3 {
        let waiting = async {
            tokio::select! {
                () = here.nudged() => {}
                () = there.nudged() => {}
            }
        };
        let nudging = async {
            // A nudge may be lost, so it is said until it is heard.
            loop {
                there.nudge().await;
                tokio::time::sleep(SHORT).await;
            }
        };
        tokio::select! {
            heard = timeout(LONG, waiting) => heard.unwrap(),
            () = nudging => {}
        }
    }
}

async fn changes_come_in_order_to_those_whose_pattern_fits(Ends { here, there }: Ends) {
    let mut all = there.changes("#").await;
    let mut jobs = there.changes("job.*.s390x").await;
    let mut of_cloud = here.changes("*.cloud.#").await;
    let told = [
        change(1, ChangeKind::Job, "storage", Some(Arch::S390x)),
        change(2, ChangeKind::Job, "storage", Some(Arch::X86_64)),
        change(3, ChangeKind::Repo, "cloud", None),
        change(4, ChangeKind::Job, "cloud", Some(Arch::S390x)),
    ];
    here.publish(&told[..3]).await.unwrap();
    here.publish(&told[3..]).await.unwrap();
    for (listener, wanted) in
        [(&mut all, vec![0, 1, 2, 3]), (&mut jobs, vec![0, 3]), (&mut of_cloud, vec![2, 3])]
    {
        for place in wanted {
            assert_eq!(timeout(LONG, listener.next()).await.unwrap(), told[place]);
        }
        assert!(timeout(SHORT, listener.next()).await.is_err());
    }
}
