/** What a dead process gets instead of an answer: a promise that stays open. */
export function never<T>(): Promise<T> {
  return new Promise<T>(() => {});
}
