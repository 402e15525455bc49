;; fuel
(module
  (func (param i32)
    (loop $again
      (br_if $again (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))))

;; Expected:
;; function 0
;; function u0:0(i64 vmctx, i32) tail {
;;     region0 = 0 "heap"
;;     region1 = 1 "table"
;;     region2 = 2 "global"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly gv0+8
;;     gv2 = load.i64 notrap aligned gv1
;;     sig0 = (i64 vmctx) -> i64 tail
;;     fn0 = colocated u0:18 sig0
;;     stack_limit = gv2
;;
;;                                 block0(v0: i64, v1: i32):
;;                                     v19 -> v1
;; @0017                               v2 = load.i64 notrap aligned readonly can_move v0+8
;; @0017                               v3 = load.i64 notrap aligned v2+88
;; @0017                               v4 = iconst.i64 0
;; @0017                               v5 = icmp sge v3, v4  ; v4 = 0
;; @0017                               brif v5, block1, block2
;;
;;                                 block1 cold:
;; @0017                               v6 = call fn0(v0)
;; @0017                               jump block2
;;
;;                                 block2:
;; @0018                               jump block4(v1)
;;
;;                                 block4(v13: i32):
;;                                     v12 -> v13
;; @0018                               v7 = load.i32 user15 aligned v2-0x0001_0000
;; @0018                               sequence_point
;; @0018                               v8 = load.i64 notrap aligned v2+88
;; @0018                               v9 = iconst.i64 0
;; @0018                               v10 = icmp sge v8, v9  ; v9 = 0
;; @0018                               brif v10, block6, block7
;;
;;                                 block6 cold:
;; @0018                               v11 = call fn0(v0)
;; @0018                               jump block7
;;
;;                                 block7:
;; @001c                               v14 = iconst.i32 1
;; @001e                               v15 = isub.i32 v13, v14  ; v14 = 1
;; @0021                               v16 = load.i64 notrap aligned v2+88
;; @0021                               v17 = iconst.i64 5
;; @0021                               v18 = iadd v16, v17  ; v17 = 5
;; @0021                               store notrap aligned v18, v2+88
;; @0021                               brif v15, block4(v15), block8
;;
;;                                 block8:
;; @0023                               jump block5
;;
;;                                 block5:
;; @0024                               return
;; }
;;
;;   pushq %rbp
;;   movq %rsp, %rbp
;;   movq 8(%rdi), %r10
;;   movq (%r10), %r10
;;   addq $0x30, %r10
;;   cmpq %rsp, %r10
;;   jnbe #trap=stk_ovf
;;   subq $0x20, %rsp
;;   movq %r12, (%rsp)
;;   movq %r13, 8(%rsp)
;;   movq %r14, 0x10(%rsp)
;; block0:
;;   movq %rsi, %r13
;;   movq 8(%rdi), %r12
;;   movq %rdi, %r14
;;   movq 0x58(%r12), %r10
;;   testq %r10, %r10
;;   jnl     label2; j label1
;; block1:
;;   jmp     label3
;; block3:
;;   jmp     label4
;; block4:
;;   movl -0x10000(%r12), %eax
;;   sequence_point
;;   movq 0x58(%r12), %rax
;;   testq %rax, %rax
;;   jnl     label6; j label5
;; block5:
;;   jmp     label7
;; block7:
;;   addq $0x5, 0x58(%r12)
;;   movq %r13, %rsi
;;   subl $0x1, %esi
;;   testl %esi, %esi
;;   jnz     label8; j label9
;; block8:
;;   movq %rsi, %r13
;;   jmp     label4
;; block9:
;;   jmp     label10
;; block10:
;;   movq (%rsp), %r12
;;   movq 8(%rsp), %r13
;;   movq 0x10(%rsp), %r14
;;   addq $0x20, %rsp
;;   movq %rbp, %rsp
;;   popq %rbp
;;   retq
;; block2:
;;   movq %r14, %rdi
;;   call    User(userextname0)
;;   jmp     label3
;; block6:
;;   movq %r14, %rdi
;;   call    User(userextname0)
;;   jmp     label7
