package twin

import "errors"

// FreezeRegion makes everything in a site's region stand still: its processes are stopped (SIGSTOP), its balancers,
// its AWS endpoints and the region's part of the term table hear and say nothing, and connections stay open. Nothing
// of the region acts or answers before [Twin.ThawRegion]. A region that is lost can't be frozen.
func (t *Twin) FreezeRegion(site string) error {
	s, err := t.site(site)
	if err != nil {
		return err
	}
	t.fabric.SetFrozen(s.Region, true)
	err = errors.Join(t.scheduler.FreezeRegion(s.Region), t.aurora.FreezeRegion(s.Region))
	if err != nil {
		return errors.Join(err, t.thaw(s.Region))
	}
	t.tell(site, "region", "%s is frozen: every process stopped, nothing answers", s.Region)
	return nil
}

// ThawRegion lets a frozen region go on where it stood.
func (t *Twin) ThawRegion(site string) error {
	s, err := t.site(site)
	if err != nil {
		return err
	}
	if err := t.thaw(s.Region); err != nil {
		return err
	}
	t.tell(site, "region", "%s goes on", s.Region)
	return nil
}

func (t *Twin) thaw(region string) error {
	err := errors.Join(t.scheduler.ThawRegion(region), t.aurora.ThawRegion(region))
	t.fabric.SetFrozen(region, false)
	return err
}
