/**
 * Folders and names: as programs see them, and as a crash would leave them. A creation, renaming
 * or removal waits in a journal until a `syncDirectory` of its folder makes it durable; each entry
 * says what a name leads to afterwards, so that any subset of them is a state a disk can be in.
 */
import type { Prng } from "../../base/prng.ts";
import { DiskError } from "../port.ts";
import type { Coverage } from "./coverage.ts";
import { FileNode } from "./file_node.ts";
import type { SimListener } from "./listener.ts";
import { splitPath } from "./path.ts";

export interface FolderNode {
  readonly kind: "directory";
  readonly mode: number;
  readonly entries: Map<string, TreeNode>;
  /** What the medium has. */
  readonly durable: Map<string, TreeNode>;
}

/** The file of a unix socket; without a listener that lives, it is left over. */
export interface SocketNode {
  readonly kind: "socket";
  readonly mode: number;
  listener: SimListener<unknown> | undefined;
}

export type TreeNode = FileNode | FolderNode | SocketNode;

interface NameChange {
  readonly folder: FolderNode;
  readonly name: string;
  /** Undefined removes the name. */
  readonly node: TreeNode | undefined;
}

/** What one call changed; a crash keeps all of it or nothing. */
type JournalEntry = NameChange[];

export class DiskTree {
  root: FolderNode = newFolder(0o755);
  /** Not durable yet, oldest first. */
  #journal: JournalEntry[] = [];
  #nextFileId = 1;

  constructor() {
    this.root.entries.set("tmp", newFolder(0o777));
    this.root.durable.set("tmp", this.root.entries.get("tmp")!);
  }

  find(path: string): TreeNode | undefined {
    if (path === "/") return this.root;
    let node: TreeNode | undefined = this.root;
    for (const name of path.slice(1).split("/")) {
      if (node === undefined || node.kind !== "directory") return undefined;
      node = node.entries.get(name);
    }
    return node;
  }

  /** The node; throws `not-found`, or `not-a-directory` when a file is on the way. */
  get(path: string): TreeNode {
    const node = this.find(path);
    if (node !== undefined) return node;
    if (path !== "/") this.folder(splitPath(path).folder, path);
    throw new DiskError("not-found", path, "does not exist");
  }

  file(path: string): FileNode {
    const node = this.get(path);
    if (node.kind === "directory") {
      throw new DiskError("is-a-directory", path, "is a directory");
    }
    if (node.kind === "socket") throw new DiskError("io", path, "is a socket");
    return node;
  }

  /** The folder at `path`; errors name `asked`. */
  folder(path: string, asked = path): FolderNode {
    const node = this.find(path);
    if (node === undefined) {
      // Find out which part is missing or is no folder.
      if (path !== "/") this.folder(splitPath(path).folder, asked);
      throw new DiskError("not-found", asked, "does not exist");
    }
    if (node.kind !== "directory") {
      throw new DiskError("not-a-directory", asked, `${path} is not a directory`);
    }
    return node;
  }

  createFile(path: string, mode: number): FileNode {
    const { folder, name } = this.#place(path);
    const node = new FileNode(this.#nextFileId++, mode & 0o777);
    this.#commit([{ folder, name, node }]);
    return node;
  }

  makeFolders(path: string, mode: number): void {
    if (path === "/") return;
    const node = this.find(path);
    if (node?.kind === "directory") return;
    if (node !== undefined) throw new DiskError("exists", path, "exists and is not a directory");
    const { folder, name } = splitPath(path);
    this.makeFolders(folder, mode);
    this.#commit([{ folder: this.folder(folder, path), name, node: newFolder(mode & 0o777) }]);
  }

  rename(from: string, to: string): void {
    const node = this.get(from);
    if (from === to) return;
    if (node.kind === "directory" && to.startsWith(`${from}/`)) {
      throw new DiskError("io", to, "a folder cannot be moved into itself");
    }
    const source = this.#place(from);
    const target = this.#place(to);
    const there = target.folder.entries.get(target.name);
    if (there?.kind === "directory") {
      if (node.kind !== "directory") throw new DiskError("is-a-directory", to, "is a directory");
      if (there.entries.size > 0) throw new DiskError("exists", to, "is not empty");
    } else if (there !== undefined && node.kind === "directory") {
      throw new DiskError("not-a-directory", to, "is not a directory");
    }
    this.#commit([
      { folder: source.folder, name: source.name, node: undefined },
      { folder: target.folder, name: target.name, node },
    ]);
  }

  remove(path: string): void {
    const node = this.get(path);
    if (node.kind === "directory") throw new DiskError("is-a-directory", path, "is a directory");
    this.#commit([{ ...this.#place(path), node: undefined }]);
  }

  /** Inside out, so that a crash may leave half of it. */
  removeTree(path: string): void {
    const node = this.get(path);
    if (node.kind === "directory") {
      for (const name of [...node.entries.keys()].sort()) {
        this.removeTree(path === "/" ? `/${name}` : `${path}/${name}`);
      }
    }
    if (path !== "/") this.#commit([{ ...this.#place(path), node: undefined }]);
  }

  /** Puts a socket's file there. One that nobody listens on is taken over. */
  placeSocket(path: string, mode: number): SocketNode | "in-the-way" | "no-folder" {
    const { folder, name } = splitPath(path);
    const parent = this.find(folder);
    if (parent?.kind !== "directory") return "no-folder";
    const there = parent.entries.get(name);
    if (there !== undefined) {
      if (there.kind !== "socket" || there.listener?.stopped === false) return "in-the-way";
    }
    const node: SocketNode = { kind: "socket", mode: mode & 0o777, listener: undefined };
    this.#commit([{ folder: parent, name, node }]);
    return node;
  }

  /** Removes the file of a socket, unless another one has taken its name. */
  removeSocket(path: string, node: SocketNode): void {
    if (this.find(path) === node) this.#commit([{ ...this.#place(path), node: undefined }]);
  }

  /** Everything that changed in this folder is durable now. */
  syncFolder(folder: FolderNode): void {
    const rest: JournalEntry[] = [];
    const settled: NameChange[] = [];
    for (const entry of this.#journal) {
      if (entry.some((change) => change.folder === folder)) settled.push(...entry);
      else rest.push(entry);
    }
    for (const change of settled) apply(change, "durable");
    // A renaming reached another folder: what was older for that name must not come back over it.
    this.#journal = rest.map((entry) =>
      entry.filter((change) =>
        !settled.some((done) => done.folder === change.folder && done.name === change.name)
      )
    ).filter((entry) => entry.length > 0);
  }

  get unsyncedNames(): number {
    return this.#journal.length;
  }

  /** The machine went down: names become what the medium has. */
  crash(options: { random: Prng; tornChance: number; coverage: Coverage }): void {
    const { random, tornChance, coverage } = options;
    const journal = this.#journal;
    this.#journal = [];
    const torn = tornChance > 0 && random.chance(tornChance);
    const prefix = torn && random.chance(0.5) ? random.below(journal.length + 1) : -1;
    journal.forEach((entry, index) => {
      const kept = torn && (prefix >= 0 ? index < prefix : random.chance(0.5));
      if (!kept) coverage.fault("lostName");
      else for (const change of entry) apply(change, "durable");
    });
    restoreFolder(this.root);
    const files = this.files();
    for (const file of files.values()) file.links = 0;
    forEachFile(this.root, "", (_path, file) => file.links++);
    for (const file of files.values()) {
      file.lockedBy = null;
      const outcome = file.crash(random, tornChance);
      if (outcome === "lost") coverage.fault("lostWrite");
      else if (outcome === "torn") coverage.fault("tornWrite");
    }
  }

  /** All files by path, sorted. */
  files(): Map<string, FileNode> {
    const files = new Map<string, FileNode>();
    forEachFile(this.root, "", (path, file) => files.set(path, file));
    return new Map([...files].sort(([a], [b]) => a < b ? -1 : 1));
  }

  #place(path: string): { folder: FolderNode; name: string } {
    const { folder, name } = splitPath(path);
    if (name === "") throw new DiskError("io", path, "the root cannot be replaced");
    return { folder: this.folder(folder, path), name };
  }

  #commit(entry: JournalEntry): void {
    for (const change of entry) {
      const before = change.folder.entries.get(change.name);
      if (before?.kind === "file") before.links--;
      if (change.node?.kind === "file") change.node.links++;
      apply(change, "entries");
    }
    this.#journal.push(entry);
  }
}

function newFolder(mode: number): FolderNode {
  return { kind: "directory", mode, entries: new Map(), durable: new Map() };
}

function apply({ folder, name, node }: NameChange, image: "entries" | "durable"): void {
  if (node === undefined) folder[image].delete(name);
  else folder[image].set(name, node);
}

function restoreFolder(folder: FolderNode): void {
  folder.entries.clear();
  for (const [name, node] of folder.durable) {
    folder.entries.set(name, node);
    if (node.kind === "directory") restoreFolder(node);
    else if (node.kind === "socket") node.listener = undefined;
  }
}

function forEachFile(
  folder: FolderNode,
  path: string,
  visit: (path: string, file: FileNode) => void,
): void {
  for (const [name, node] of folder.entries) {
    if (node.kind === "directory") forEachFile(node, `${path}/${name}`, visit);
    else if (node.kind === "file") visit(`${path}/${name}`, node);
  }
}
