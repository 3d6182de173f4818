/** What the cache counts. Plain numbers; whoever shows them reads them. */
export class CacheCounters {
  /** Answers from memory: of this node's own keys, and of copies. */
  hits = 0;
  copyHits = 0;
  /** Callers that found nothing in memory. */
  misses = 0;
  /** Answers that came from an owner. */
  asked = 0;
  /** Values that sources of this node gave, and what went wrong with others. */
  filled = 0;
  fillErrors = 0;
  fillTimeouts = 0;
  /** Sources that were told to stop because nobody waited any more. */
  fillsCanceled = 0;
  /** Fills by the own source in place of an owner that did not answer. */
  fallbacks = 0;
  /** Owners that said nothing when they were asked whether they are there. */
  ownersSilent = 0;
  /** Requests of members for keys that are not this node's in its own view. */
  misrouted = 0;
  /** Requests that came with another configuration than this node's. */
  otherView = 0;
  /** Values that were too large to be kept. */
  passedThrough = 0;
  /** Copies of values that others own. */
  copied = 0;
  expired = 0;
  removed = 0;
  /** Callers that were refused because too many waited. */
  waitersRefused = 0;
}
