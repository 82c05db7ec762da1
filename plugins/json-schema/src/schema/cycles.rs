//! References that lead back to themselves without going into the value. What they ask of a value is nothing, or never ends: a mistake of
//! whoever wrote the schema, that the compiler passes in silence.

use super::places::Places;

/// An order of all places in which each comes after those that it passes the same value to; or a reference that leads back to where it
/// stands.
pub fn order<'r>(places: &Places<'r>) -> Result<Vec<usize>, &'r str> {
    #[derive(Clone, Copy)]
    enum State {
        Unknown,
        /// On the way that is being gone.
        Open,
        Done,
    }
    let places = places.as_slice();
    let mut states = vec![State::Unknown; places.len()];
    let mut order = Vec::with_capacity(places.len());
    for start in 0..places.len() {
        // The places on the way, and how many of those that follow were looked at.
        let mut way = Vec::new();
        if matches!(states[start], State::Unknown) {
            states[start] = State::Open;
            way.push((start, 0));
        }
        while let Some((place, looked_at)) = way.last_mut() {
            let Some((next, _)) = places[*place].same.get(*looked_at) else {
                states[*place] = State::Done;
                order.push(*place);
                way.pop();
                continue;
            };
            *looked_at += 1;
            match states[*next] {
                State::Unknown => {
                    states[*next] = State::Open;
                    way.push((*next, 0));
                }
                State::Open => {
                    let circle = way.iter().skip_while(|(place, _)| place != next);
                    let mut references = circle.filter_map(|(place, looked_at)| places[*place].same[looked_at - 1].1);
                    // Without one a schema would stand in itself.
                    return Err(references.next().unwrap_or_default());
                }
                State::Done => {}
            }
        }
    }
    Ok(order)
}
