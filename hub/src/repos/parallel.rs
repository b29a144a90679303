//! Work on several things at the same time, on threads that end with it.

use std::thread;

/// Fewer things than this are not worth a thread.
const WORTH_A_THREAD: usize = 32;

/// Does some work for each of these at the same time; gives what comes out, in their order.
pub(super) fn at_once<T: Sync, R: Send, E: Send>(
    each: &[T],
    work: impl Fn(&T) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    let work = &work;
    thread::scope(|scope| {
        let running: Vec<_> = each.iter().map(|one| scope.spawn(move || work(one))).collect();
        running
            .into_iter()
            .map(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    })
}

/// Does some work for each of many small things, the one half beside the other; gives what comes out, in their order.
pub(super) fn in_halves<T: Sync, R: Send, E: Send>(
    each: &[T],
    work: impl Fn(&T) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    if each.len() < 2 * WORTH_A_THREAD {
        return each.iter().map(work).collect();
    }
    let (first, second) = each.split_at(each.len() / 2);
    let done = at_once(&[first, second], |half| half.iter().map(&work).collect::<Result<Vec<R>, E>>())?;
    Ok(done.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_out_is_in_order_and_a_failure_is_told() {
        for count in [0, 1, 63, 64, 65, 1_000] {
            let all: Vec<usize> = (0..count).collect();
            assert_eq!(
                in_halves(&all, |one| Ok::<_, usize>(one * 2)).unwrap(),
                all.iter().map(|one| one * 2).collect::<Vec<_>>()
            );
            assert_eq!(
                at_once(&all[..count.min(9)], |one| Ok::<_, usize>(*one)).unwrap(),
                all[..count.min(9)]
            );
        }
        let all: Vec<usize> = (0..1_000).collect();
        assert_eq!(in_halves(&all, |one| if *one == 700 { Err(*one) } else { Ok(()) }), Err(700));
    }
}
