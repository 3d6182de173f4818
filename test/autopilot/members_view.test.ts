/** Who left on purpose, as every node remembers it; and that the real membership fits. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type MembersLike, MembersView } from "../../src/autopilot/members_view.ts";
import type { FeedView } from "../../src/autopilot/view_feed.ts";
import type { Members } from "../../src/membership/members.ts";
import { memberOf } from "./hand.ts";

/** The type check is the test: what autopilot needs is there. */
const asAutopilotNeedsIt = (members: Members): MembersLike => members;

class Views {
  view: FeedView | undefined = undefined;
  isDegraded = false;
  readonly leaving = new Set<string>();
  #listener: ((view: FeedView) => void) | undefined = undefined;
  readonly feed = {
    observe: (listener: (view: FeedView) => void) => {
      this.#listener = listener;
      return { cancel: () => void (this.#listener = undefined) };
    },
  };

  show(...names: readonly string[]): void {
    this.view = { epoch: (this.view?.epoch ?? 0) + 1, members: names.map(memberOf) };
    this.#listener?.(this.view);
  }

  get isFollowed(): boolean {
    return this.#listener !== undefined;
  }
}

function viewOf(views: Views): MembersView {
  return new MembersView({
    members: views,
    tagsOf: () => [],
    isLeaving: ({ name }) => views.leaving.has(name),
  });
}

test("who said that it would leave, and is gone, has left; who is gone like that has not", () => {
  assert.equal(typeof asAutopilotNeedsIt, "function");
  const views = new Views();
  const view = viewOf(views);
  let told = 0;
  view.changed(() => told++);
  assert.equal(view.current, undefined);
  views.show("a", "b", "c");
  views.leaving.add("b");
  views.show("a", "b", "c");
  assert.equal(view.departure("id-b"), undefined, "it is still there");
  assert.ok(view.isLeaving(memberOf("b")));
  views.show("a");
  assert.deepEqual([view.departure("id-b"), view.departure("id-c")], ["left", undefined]);
  views.leaving.delete("b");
  views.show("a", "b");
  assert.equal(view.departure("id-b"), undefined, "it came back");
  assert.equal(told, 4);
  view.stop();
  assert.ok(!views.isFollowed);
});

test("those that left long ago are forgotten, the oldest first", () => {
  const views = new Views();
  const view = viewOf(views);
  for (let round = 0; round < 300; round++) {
    views.leaving.add(`n${round}`);
    views.show("a", `n${round}`);
  }
  views.show("a");
  assert.equal(view.departure("id-n0"), undefined);
  assert.equal(view.departure("id-n299"), "left");
});
