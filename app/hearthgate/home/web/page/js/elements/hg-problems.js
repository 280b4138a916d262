/**
 * What is wrong with parts of the home that may fail alone, each with its next try.
 *
 * `problems` are those of `home` in the state. Empty, it takes no room.
 */

import { h, reconcile } from "../dom.js";
import { HgElement, properties } from "../element.js";

class HgProblems extends HgElement {
  update() {
    this.hidden = !this.problems.length;
    reconcile(this, this.problems.map((problem, at) => ({ problem, at: String(at) })), {
      key: ({ at }) => at,
      make: () => h("hg-problem", { level: "warning" }),
      fill: (element, { problem }) => { element.problem = problem; },
    });
  }
}

properties(HgProblems, { problems: [] });
customElements.define("hg-problems", HgProblems);
