/**
 * The end of the node's own certificate: a number for whoever watches the node, and a warning once
 * a day before it. A clock that is wrong says the same, so that it never stops anything.
 */
import { certificateWarning, dayMs, type Validity } from "../base/certificate.ts";
import type { Logger } from "../base/log.ts";
import type { MetricsRegistry } from "../base/metrics.ts";
import type { Clock, Timer } from "../runtime/port.ts";
import { certificateMetrics } from "./certificate_metrics.ts";

export class CertificateWatch {
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #validity: Validity;
  #timer: Timer | undefined = undefined;

  constructor(clock: Clock, logger: Logger, metrics: MetricsRegistry, validity: Validity) {
    this.#clock = clock;
    this.#logger = logger;
    this.#validity = validity;
    const { expiry } = metrics.declare(certificateMetrics);
    expiry.source = () => (validity.notAfterMs - clock.wallMs()) / 1000;
  }

  /** Says what there is to say, now and every day from now on. */
  start(): void {
    const warning = certificateWarning(this.#validity, this.#clock.wallMs());
    if (warning !== undefined) this.#logger.warning(warning);
    this.#timer = this.#clock.timer(dayMs, startAgain, this);
  }

  stop(): void {
    this.#timer?.cancel();
  }
}

function startAgain(watch: CertificateWatch): void {
  watch.start();
}
